import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/** Times what pgjdbc asks the catalog, on every way in turn. Arguments: how often, a table of the schema s3, pairs of a way's name and its URL. */
public class Metadata {
    interface Question {
        ResultSet ask(DatabaseMetaData data) throws SQLException;
    }

    public static void main(String[] args) throws SQLException {
        int rounds = Integer.parseInt(args[0]);
        String one = args[1];
        List<String> ways = new ArrayList<>();
        List<Connection> connections = new ArrayList<>();
        for (int at = 2; at + 1 < args.length; at += 2) {
            ways.add(args[at]);
            connections.add(DriverManager.getConnection(args[at + 1]));
        }
        time("getTables", rounds, ways, connections, data -> data.getTables(null, null, "%", new String[] {"TABLE", "VIEW"}));
        time("getColumns", rounds, ways, connections, data -> data.getColumns(null, null, "%", "%"));
        time("getColumns of one", rounds, ways, connections, data -> data.getColumns(null, "s3", one, "%"));
        time("getPrimaryKeys of one", rounds, ways, connections, data -> data.getPrimaryKeys(null, "s3", one));
    }

    static void time(String what, int rounds, List<String> ways, List<Connection> connections, Question question) throws SQLException {
        for (int round = 0; round < rounds; round++) {
            for (int way = 0; way < ways.size(); way++) {
                long begin = System.nanoTime();
                int rows = 0;
                try (ResultSet set = question.ask(connections.get(way).getMetaData())) {
                    while (set.next()) {
                        rows++;
                    }
                }
                System.out.println("pgjdbc " + what + "\t" + ways.get(way) + "\t" + (System.nanoTime() - begin) / 1e6 + "\t" + rows);
            }
        }
    }
}
