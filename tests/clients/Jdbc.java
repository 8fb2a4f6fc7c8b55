import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What pgjdbc says of a database, one line for each question: run by jdbc.rs, on the bare warehouse and through the proxy. */
public class Jdbc {
    interface Question {
        ResultSet ask() throws SQLException;
    }

    static void say(String what, Object answer) {
        System.out.println(what + "\t" + String.valueOf(answer).replace("\n", "\\n"));
    }

    static void rows(String what, Question question) {
        try (ResultSet rows = question.ask()) {
            ResultSetMetaData columns = rows.getMetaData();
            List<String> types = new ArrayList<>();
            for (int i = 1; i <= columns.getColumnCount(); i++) {
                types.add(columns.getColumnLabel(i) + " " + columns.getColumnTypeName(i) + " " + columns.getPrecision(i) + " " + columns.getScale(i));
            }
            say(what, types);
            List<String> all = new ArrayList<>();
            while (rows.next()) {
                List<String> row = new ArrayList<>();
                for (int i = 1; i <= columns.getColumnCount(); i++) {
                    Object value = rows.getObject(i);
                    row.add(value instanceof byte[] ? Arrays.toString((byte[]) value) : value instanceof Array ? value.toString() : String.valueOf(value));
                }
                all.add(row.toString());
            }
            for (String row : all) {
                say(what, row);
            }
        } catch (SQLException error) {
            say(what, error.getSQLState() + " " + error.getMessage());
        }
    }

    public static void main(String[] args) throws Exception {
        String url = System.getenv("JDBC_URL");
        try (Connection connection = DriverManager.getConnection(url)) {
            if ("columns".equals(System.getenv("ONLY"))) {
                columns(connection);
            } else if ("replanned".equals(System.getenv("ONLY"))) {
                replanned(connection);
                return;
            } else {
                metadata(connection);
                queries(connection);
            }
        }
        System.out.println("done");
    }

    /** The columns of a prepared statement, before and after a line comes in. */
    static void replanned(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM customer WHERE id = ?")) {
            statement.unwrap(org.postgresql.PGStatement.class).setPrepareThreshold(1);
            for (int round = 0; round < 2; round++) {
                String found = "";
                for (int n = 0; n < 7; n++) {
                    statement.setInt(1, 1);
                    ResultSet rows = statement.executeQuery();
                    List<String> names = new ArrayList<>();
                    for (int i = 1; i <= rows.getMetaData().getColumnCount(); i++) {
                        names.add(rows.getMetaData().getColumnName(i));
                    }
                    found = String.join("\t", names);
                }
                System.out.println(found);
                if (round == 0) {
                    System.in.read();
                }
            }
        }
    }

    /** Every column outside the system's schemas. */
    static void columns(Connection connection) throws SQLException {
        try (ResultSet rows = connection.getMetaData().getColumns(null, null, "%", "%")) {
            while (rows.next()) {
                String schema = rows.getString("TABLE_SCHEM");
                if (!Arrays.asList("pg_catalog", "information_schema", "sqlveil").contains(schema)) {
                    System.out.println(schema + "." + rows.getString("TABLE_NAME") + "." + rows.getString("COLUMN_NAME"));
                }
            }
        }
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        for (String schema : new String[] {"public", "more"}) {
            rows(schema + " getTables", () -> data.getTables(null, schema, "%", null));
            rows(schema + " getColumns", () -> data.getColumns(null, schema, "%", "%"));
            for (String table : new String[] {"region", "customer", "sale", "rich", "totals", "Odd Name"}) {
                rows(table + " getPrimaryKeys", () -> data.getPrimaryKeys(null, schema, table));
                rows(table + " getImportedKeys", () -> data.getImportedKeys(null, schema, table));
                rows(table + " getExportedKeys", () -> data.getExportedKeys(null, schema, table));
                rows(table + " getIndexInfo", () -> data.getIndexInfo(null, schema, table, false, true));
                rows(table + " getBestRowIdentifier", () -> data.getBestRowIdentifier(null, schema, table, 0, true));
                rows(table + " getVersionColumns", () -> data.getVersionColumns(null, schema, table));
            }
            rows(schema + " getUDTs", () -> data.getUDTs(null, schema, "%", null));
        }
        rows("getCrossReference", () -> data.getCrossReference(null, "public", "region", null, "public", "customer"));
        rows("getCatalogs", () -> data.getCatalogs());
        rows("getTableTypes", () -> data.getTableTypes());
        rows("getFunctions", () -> data.getFunctions(null, "pg_catalog", "to_char"));
        rows("getFunctionColumns", () -> data.getFunctionColumns(null, "pg_catalog", "to_char", "%"));
        rows("getClientInfoProperties", () -> data.getClientInfoProperties());
        say("product", data.getDatabaseProductName() + " " + data.getDatabaseProductVersion() + " " + data.getMaxColumnNameLength() + " " + data.getSQLKeywords().length());
    }

    static void queries(Connection connection) throws SQLException {
        for (int threshold : new int[] {0, 1}) {
            String sql = "SELECT id, name, balance, born, tags, feels, floor, token, photo, span FROM customer WHERE id <> ? AND born < ? ORDER BY id";
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                statement.unwrap(org.postgresql.PGStatement.class).setPrepareThreshold(threshold);
                for (int n = 0; n < 4; n++) {
                    statement.setInt(1, n);
                    statement.setDate(2, Date.valueOf("1999-12-31"));
                    rows("prepared " + threshold, statement::executeQuery);
                }
                ResultSetMetaData columns = statement.getMetaData();
                org.postgresql.PGResultSetMetaData more = columns.unwrap(org.postgresql.PGResultSetMetaData.class);
                for (int i = 1; i <= columns.getColumnCount(); i++) {
                    say("described", more.getBaseSchemaName(i) + " " + more.getBaseTableName(i) + " " + more.getBaseColumnName(i) + " " + columns.isNullable(i) + " " + columns.isAutoIncrement(i));
                }
                say("parameters", statement.getParameterMetaData().getParameterTypeName(1) + " " + statement.getParameterMetaData().getParameterTypeName(2));
            }
        }
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(37);
            long sum = 0;
            try (ResultSet rows = statement.executeQuery("SELECT id FROM sale ORDER BY id")) {
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
            }
            say("fetched by 37", sum);
        }
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
            ResultSet rows = statement.executeQuery("SELECT * FROM region ORDER BY id");
            rows.last();
            say("scrolled", rows.getRow() + " " + rows.getString(2));
            statement.addBatch("SELECT 1");
            try {
                statement.executeBatch();
            } catch (SQLException error) {
                say("batch", error.getSQLState());
            }
        }
        for (String sql : new String[] {"SELECT 1/0", "SELECT * FROM nowhere", "SELECT 'x'::int", "SELEC", "SELECT 1; SELECT 2", ""}) {
            rows(sql, () -> connection.createStatement().executeQuery(sql));
        }
        connection.setReadOnly(true);
        connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        connection.setSchema("more");
        connection.setClientInfo("ApplicationName", "jdbc");
        say("session", connection.getSchema() + " " + connection.isValid(5) + " " + connection.getTransactionIsolation());
        rows("in another schema", () -> connection.createStatement().executeQuery("SELECT * FROM \"Odd Name\""));
        try (Statement statement = connection.createStatement()) {
            statement.setQueryTimeout(1);
            statement.executeQuery("SELECT count(*) FROM generate_series(1, 1000000000)");
        } catch (SQLException error) {
            say("timeout", error.getSQLState());
        }
        rows("after the timeout", () -> connection.createStatement().executeQuery("SELECT 1"));
    }
}
