// What Java programs do with a connection, through pgjdbc: run by pgjdbc.rs, which says in the environment how to connect and what the
// user sees. Every statement here is an ordinary one; nothing knows of the proxy. Says "done" when all was as it should be.

import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.sql.*;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;
import org.postgresql.copy.CopyManager;

public class Peer {
    static final Map<String, String> SAID = System.getenv();
    static final List<String> NAMES = Arrays.asList(SAID.getOrDefault("NAMES", "").split(" "));

    static void same(Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) throw new AssertionError(got + " is not " + wanted);
    }

    static Connection connect(String... more) throws SQLException {
        Properties properties = new Properties();
        for (String line : SAID.get("CONNECT").split("\n")) {
            int at = line.indexOf('=');
            properties.setProperty(line.substring(0, at), line.substring(at + 1));
        }
        for (int i = 0; i < more.length; i += 2) properties.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection(SAID.get("URL"), properties);
    }

    static List<Object> column(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            return column(r, 1);
        }
    }

    static List<Object> column(ResultSet r, int at) throws SQLException {
        List<Object> all = new ArrayList<>();
        while (r.next()) all.add(r.getObject(at));
        return all;
    }

    static Object one(Connection c, String sql) throws SQLException {
        List<Object> all = column(c, sql);
        same(all.size(), 1);
        return all.get(0);
    }

    interface Attempt { void run() throws Exception; }

    static SQLException fails(String code, Attempt attempt) throws Exception {
        try {
            attempt.run();
        } catch (SQLException e) {
            if (!code.equals(e.getSQLState())) throw e;
            return e;
        }
        throw new AssertionError("it went well");
    }

    static void login(Connection c) throws Exception {
        same(one(c, "SELECT current_user || ' ' || session_user"), SAID.get("USER") + " " + SAID.get("USER"));
        same(column(c, "SELECT name FROM emp ORDER BY id"), NAMES);
        same(column(c, "SELECT DISTINCT ssn FROM emp"), List.of("masked"));
        SQLException e = fails("42P01", () -> one(c, "SELECT * FROM hidden"));
        if (!e.getMessage().startsWith("ERROR: relation \"hidden\" does not exist")) throw e;
    }

    static void parameters(Connection c, boolean simple) throws Exception {
        String sql = "SELECT ?::int, ?::int8, ?::numeric, ?::text, ?::bool, ?::date, ?::bytea, ?::uuid, ?::text[], ?::timestamptz, ?::float8";
        UUID uuid = new UUID(0, 42);
        OffsetDateTime time = OffsetDateTime.parse("2001-02-03T04:05:06.789Z");
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int round = 0; round < 8; round++) {
                s.setInt(1, round);
                s.setLong(2, 1L << 40);
                s.setBigDecimal(3, new BigDecimal("12.3400"));
                s.setString(4, "Zoë ' \\ ß ?");
                s.setBoolean(5, true);
                s.setObject(6, LocalDate.of(2024, 2, 29));
                // Bytes are no parameter of its simple mode.
                if (simple) s.setString(7, "\\x00ff27");
                else s.setBytes(7, new byte[] {0, -1, 39});
                s.setObject(8, uuid);
                s.setArray(9, c.createArrayOf("text", new String[] {"a b", "c\"d", null}));
                s.setObject(10, time);
                s.setNull(11, Types.DOUBLE);
                try (ResultSet r = s.executeQuery()) {
                    r.next();
                    same(r.getInt(1), round);
                    same(r.getLong(2), 1L << 40);
                    same(r.getBigDecimal(3), new BigDecimal("12.3400"));
                    same(r.getString(4), "Zoë ' \\ ß ?");
                    same(r.getBoolean(5), true);
                    same(r.getObject(6, LocalDate.class), LocalDate.of(2024, 2, 29));
                    same(Arrays.toString(r.getBytes(7)), "[0, -1, 39]");
                    same(r.getObject(8), uuid);
                    same(Arrays.asList((String[]) r.getArray(9).getArray()), Arrays.asList("a b", "c\"d", null));
                    same(r.getObject(10, OffsetDateTime.class).toInstant(), time.toInstant());
                    r.getDouble(11);
                    same(r.wasNull(), true);
                }
            }
        }
        try (PreparedStatement s = c.prepareStatement("SELECT count(*) FROM emp WHERE ssn = ?")) {
            for (String ssn : List.of("number 1", "masked")) {
                s.setString(1, ssn);
                try (ResultSet r = s.executeQuery()) {
                    // A condition on what is masked meets the mask.
                    same(column(r, 1), List.of(ssn.equals("masked") ? (long) NAMES.size() : 0L));
                }
            }
        }
    }

    /** From the unnamed statement to one prepared on the server, and from text to binary. */
    static void prepared(Connection c) throws Exception {
        try (PreparedStatement s = c.prepareStatement("SELECT n, label FROM ticks WHERE n = ?");
             PreparedStatement people = c.prepareStatement("SELECT id, name, born, pay, seen FROM emp ORDER BY id")) {
            ((PGStatement) s.unwrap(PGStatement.class)).setPrepareThreshold(3);
            for (int n = 1; n <= 8; n++) {
                s.setInt(1, n);
                try (ResultSet r = s.executeQuery()) {
                    r.next();
                    same(r.getInt(1) + r.getString(2), n + "tick " + n);
                    same(r.next(), false);
                }
                try (ResultSet r = people.executeQuery()) {
                    same(column(r, 2), NAMES);
                }
            }
            same(s.unwrap(PGStatement.class).isUseServerPrepare(), true);
        }
    }

    static void cursors(Connection c) throws Exception {
        c.setAutoCommit(false);
        try (PreparedStatement s = c.prepareStatement("SELECT n FROM ticks WHERE n <= ? ORDER BY n")) {
            s.setFetchSize(100);
            for (int most : new int[] {350, 1000, 100, 0}) {
                s.setInt(1, most);
                try (ResultSet r = s.executeQuery()) {
                    List<Object> all = column(r, 1);
                    same(all.size(), most);
                    if (most > 0) same(all.get(most - 1), most);
                }
            }
        }
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
            ResultSet r = s.executeQuery("SELECT n FROM ticks ORDER BY n");
            r.last();
            same(r.getInt(1), 1000);
            r.absolute(5);
            same(r.getInt(1), 5);
        }
        c.commit();
        c.setAutoCommit(true);
    }

    static void transactions(Connection c) throws Exception {
        c.setAutoCommit(false);
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        same(one(c, "SHOW transaction_isolation"), "serializable");
        Savepoint before = c.setSavepoint("before");
        fails("42P01", () -> one(c, "SELECT * FROM hidden"));
        fails("25P02", () -> one(c, "SELECT 1"));
        c.rollback(before);
        same(one(c, "SELECT 1"), 1);
        c.commit();
        c.setReadOnly(true);
        same(one(c, "SELECT count(*) FROM ticks"), 1000L);
        c.commit();
        c.setReadOnly(false);
        c.setAutoCommit(true);
        c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        same(c.isValid(5), true);
        c.setSchema("public");
        same(c.getSchema(), "public");
        c.setClientInfo("ApplicationName", "peer");
        same(one(c, "SHOW application_name"), "peer");
    }

    static void writing(Connection c) throws Exception {
        c.setAutoCommit(false);
        String sql = "INSERT INTO notes (author, body) VALUES (?, ?)";
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int n = 0; n < 50; n++) {
                s.setString(1, "ana");
                s.setString(2, "note " + n);
                s.addBatch();
            }
            // Rewritten into fewer statements, their numbers are not known (-2).
            for (int count : s.executeBatch()) if (count != 1 && count != Statement.SUCCESS_NO_INFO) same(count, 1);
        }
        same(one(c, "SELECT count(*) FROM notes"), 50L);
        try (PreparedStatement s = c.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
            s.setString(1, "ana");
            s.setString(2, "one more");
            same(s.executeUpdate(), 1);
            try (ResultSet keys = s.getGeneratedKeys()) {
                same(keys.next() && keys.getInt("id") > 0, true);
            }
        }
        try (Statement s = c.createStatement()) {
            s.addBatch("UPDATE notes SET body = 'x' WHERE body = 'note 1'");
            s.addBatch("DELETE FROM notes WHERE body = 'note 2'");
            same(Arrays.toString(s.executeBatch()), "[1, 1]");
        }
        try (PreparedStatement s = c.prepareStatement("INSERT INTO notes (id, author) VALUES (?, ?)")) {
            for (int n : new int[] {7000, 7001, 7000}) {
                s.setInt(1, n);
                s.setString(2, "ana");
                s.addBatch();
            }
            fails("23505", () -> s.executeBatch());
        }
        c.rollback();
        same(one(c, "SELECT count(*) FROM notes"), 0L);
        c.commit();
        c.setAutoCommit(true);
    }

    static void copy(Connection c, boolean writes) throws Exception {
        CopyManager manager = c.unwrap(PGConnection.class).getCopyAPI();
        StringWriter out = new StringWriter();
        manager.copyOut("COPY (SELECT name, ssn FROM emp ORDER BY id) TO STDOUT (FORMAT csv)", out);
        same(out.toString(), String.join("", NAMES.stream().map(n -> n + ",masked\n").toList()));
        if (writes) {
            c.setAutoCommit(false);
            same(manager.copyIn("COPY notes (author, body) FROM STDIN", new StringReader("ana\ta\nana\tb\n")), 2L);
            c.rollback();
            c.setAutoCommit(true);
        } else {
            fails("42501", () -> manager.copyIn("COPY notes (author, body) FROM STDIN", new StringReader("eve\ta\n")));
        }
        same(one(c, "SELECT 1"), 1);
    }

    static void metadata(Connection c, boolean simple) throws Exception {
        DatabaseMetaData about = c.getMetaData();
        same(about.getUserName(), SAID.get("USER"));
        try (ResultSet r = about.getTables(null, "public", "%", new String[] {"TABLE"})) {
            same(column(r, 3), List.of("emp", "notes", "ticks"));
        }
        Map<String, String> columns = new LinkedHashMap<>();
        try (ResultSet r = about.getColumns(null, "public", "emp", "%")) {
            while (r.next()) columns.put(r.getString("COLUMN_NAME"), r.getString("TYPE_NAME"));
        }
        same(columns.get("pay"), "numeric");
        same(columns.get("feels"), "mood");
        same(columns.size(), 12);
        try (ResultSet r = about.getColumns(null, null, "hidden", "%")) {
            same(r.next(), false);
        }
        for (String table : List.of("emp", "hidden")) {
            about.getPrimaryKeys(null, "public", table).close();
            about.getIndexInfo(null, "public", table, false, true).close();
            about.getImportedKeys(null, "public", table).close();
            about.getExportedKeys(null, "public", table).close();
            about.getTablePrivileges(null, "public", table).close();
            about.getColumnPrivileges(null, "public", table, "%").close();
            about.getBestRowIdentifier(null, "public", table, DatabaseMetaData.bestRowSession, false).close();
        }
        try (ResultSet r = about.getSchemas()) {
            same(column(r, 1).contains("public"), true);
        }
        about.getCatalogs().close();
        about.getTypeInfo().close();
        about.getTableTypes().close();
        about.getFunctions(null, "public", "%").close();
        about.getProcedures(null, "public", "%").close();
        about.getClientInfoProperties().close();
        about.getSQLKeywords();
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SELECT id AS i, pay, ssn, 1 + 1 FROM emp")) {
            ResultSetMetaData m = r.getMetaData();
            same(m.getColumnCount(), 4);
            same(m.getColumnLabel(1), "i");
            same(m.getColumnTypeName(2), "numeric");
            m.getTableName(1);
            m.getColumnName(1);
            m.isNullable(1);
            m.isAutoIncrement(1);
        }
        if (simple) return;
        try (PreparedStatement s = c.prepareStatement("SELECT * FROM ticks WHERE n = ? AND label = ?")) {
            same(s.getParameterMetaData().getParameterCount(), 2);
            same(s.getParameterMetaData().getParameterTypeName(1), "int4");
            same(s.getMetaData().getColumnCount(), 2);
        }
    }

    static void warnings(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TEMP TABLE own (x int)");
            s.execute("CREATE TEMP TABLE IF NOT EXISTS own (x int)");
            same(s.getWarnings().getSQLState(), "42P07");
            s.execute("DROP TABLE own");
        }
    }

    static void cancelling(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            fails("57014", () -> s.executeQuery("SELECT count(*) FROM generate_series(1, 100000000000)"));
            s.setQueryTimeout(0);
            same(s.executeQuery("SELECT 1").next(), true);
        }
    }

    /** A PKCS#12 file, as `openssl pkcs12 -export -name user` makes one, of a certificate and a PKCS#8 key. */
    static void bundle(Path folder, String name, String password) throws Exception {
        Certificate certificate;
        try (FileInputStream in = new FileInputStream(folder.resolve(name + ".crt").toFile())) {
            certificate = CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
        var key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Files.readAllBytes(folder.resolve(name + ".pk8"))));
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        store.setKeyEntry("user", key, password.toCharArray(), new Certificate[] {certificate});
        try (FileOutputStream out = new FileOutputStream(folder.resolve(name + ".p12").toFile())) {
            store.store(out, password.toCharArray());
        }
    }

    public static void main(String[] arguments) throws Exception {
        String part = SAID.get("PEER");
        if (SAID.containsKey("BUNDLE")) bundle(Path.of(SAID.get("BUNDLE")), SAID.get("USER"), "secret");
        if (part.equals("version")) {
            System.out.println(org.postgresql.util.DriverInfo.DRIVER_VERSION);
        } else if (part.equals("refused")) {
            try (Connection c = connect()) {
                throw new AssertionError("it got in");
            } catch (SQLException e) {
                if (!e.getMessage().contains(SAID.get("WHY"))) throw e;
            }
        } else if (part.equals("login")) {
            try (Connection c = connect()) {
                login(c);
            }
        } else {
            boolean writes = SAID.get("USER").equals("ana");
            for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
                System.out.println(mode);
                boolean simple = mode.equals("simple");
                String rewrite = mode.equals("extendedForPrepared") ? "true" : "false";
                try (Connection c = connect("preferQueryMode", mode, "reWriteBatchedInserts", rewrite, "ApplicationName", "Peer")) {
                    login(c);
                    parameters(c, simple);
                    prepared(c);
                    cursors(c);
                    transactions(c);
                    if (writes) writing(c);
                    copy(c, writes);
                    metadata(c, simple);
                    warnings(c);
                    if (simple || mode.equals("extended")) cancelling(c);
                }
            }
        }
        System.out.println("done");
    }
}
