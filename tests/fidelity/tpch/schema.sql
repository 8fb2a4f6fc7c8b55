-- The tables of TPC-H (specification 3.0.1, clause 1.4) with the keys of clause 1.4.2, and data of our own: made by formulas, small, and
-- such that every query of clause 2.4 with its validation parameters finds rows.
CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152));
CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name char(25) NOT NULL, n_regionkey int NOT NULL REFERENCES region,
    n_comment varchar(152));
CREATE TABLE part (p_partkey int PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL,
    p_type varchar(25) NOT NULL, p_size int NOT NULL, p_container char(10) NOT NULL, p_retailprice decimal(15,2) NOT NULL,
    p_comment varchar(23) NOT NULL);
CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL,
    s_nationkey int NOT NULL REFERENCES nation, s_phone char(15) NOT NULL, s_acctbal decimal(15,2) NOT NULL,
    s_comment varchar(101) NOT NULL);
CREATE TABLE partsupp (ps_partkey int NOT NULL REFERENCES part, ps_suppkey int NOT NULL REFERENCES supplier, ps_availqty int NOT NULL,
    ps_supplycost decimal(15,2) NOT NULL, ps_comment varchar(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL,
    c_nationkey int NOT NULL REFERENCES nation, c_phone char(15) NOT NULL, c_acctbal decimal(15,2) NOT NULL,
    c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL);
CREATE TABLE orders (o_orderkey int PRIMARY KEY, o_custkey int NOT NULL REFERENCES customer, o_orderstatus char(1) NOT NULL,
    o_totalprice decimal(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL,
    o_shippriority int NOT NULL, o_comment varchar(79) NOT NULL);
CREATE TABLE lineitem (l_orderkey int NOT NULL REFERENCES orders, l_partkey int NOT NULL, l_suppkey int NOT NULL,
    l_linenumber int NOT NULL, l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL,
    l_discount decimal(15,2) NOT NULL, l_tax decimal(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
    l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL,
    l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber),
    FOREIGN KEY (l_partkey, l_suppkey) REFERENCES partsupp);
CREATE INDEX ON lineitem (l_partkey, l_suppkey); CREATE INDEX ON orders (o_custkey); CREATE INDEX ON lineitem (l_shipdate);

-- Numbers that look scattered and are the same every time.
INSERT INTO region SELECT i, (ARRAY['AFRICA', 'AMERICA', 'ASIA', 'EUROPE', 'MIDDLE EAST'])[i + 1], 'region ' || i
    FROM generate_series(0, 4) i;
INSERT INTO nation SELECT i - 1, (ARRAY['ALGERIA', 'ARGENTINA', 'BRAZIL', 'CANADA', 'EGYPT', 'ETHIOPIA', 'FRANCE', 'GERMANY', 'INDIA',
        'INDONESIA', 'IRAN', 'IRAQ', 'JAPAN', 'JORDAN', 'KENYA', 'MOROCCO', 'MOZAMBIQUE', 'PERU', 'CHINA', 'ROMANIA', 'SAUDI ARABIA',
        'VIETNAM', 'RUSSIA', 'UNITED KINGDOM', 'UNITED STATES'])[i],
        (ARRAY[0, 1, 1, 1, 4, 0, 3, 3, 2, 2, 4, 4, 2, 4, 0, 0, 0, 1, 2, 3, 4, 2, 3, 3, 1])[i], 'nation ' || i
    FROM generate_series(1, 25) i;
INSERT INTO part SELECT i,
        (ARRAY['forest', 'green', 'almond', 'blue', 'ghost', 'navy', 'rose'])[1 + i % 7] || ' ' || (ARRAY['lace', 'green', 'plum'])[1 + i % 3],
        'Manufacturer#' || 1 + i % 5, 'Brand#' || 1 + i % 5 || 1 + i / 5 % 5,
        (ARRAY['STANDARD', 'SMALL', 'MEDIUM', 'LARGE', 'ECONOMY', 'PROMO'])[1 + i % 6] || ' ' ||
            (ARRAY['ANODIZED', 'BURNISHED', 'PLATED', 'POLISHED', 'BRUSHED'])[1 + i / 6 % 5] || ' ' ||
            (ARRAY['TIN', 'NICKEL', 'BRASS', 'STEEL', 'COPPER'])[1 + i / 30 % 5],
        1 + i * 7 % 50, (ARRAY['SM', 'LG', 'MED', 'JUMBO', 'WRAP'])[1 + i % 5] || ' ' ||
            (ARRAY['CASE', 'BOX', 'BAG', 'JAR', 'PKG', 'PACK', 'CAN', 'DRUM'])[1 + i / 5 % 8],
        900 + i * 13 % 1200 + 0.5, 'part ' || i
    FROM generate_series(1, 2000) i;
-- What queries 2, 17 and 19 ask for by brand, container, size and type.
UPDATE part SET p_type = 'LARGE PLATED BRASS', p_size = 15 WHERE p_partkey % 40 = 3;
UPDATE part SET p_brand = 'Brand#23', p_container = 'MED BOX' WHERE p_partkey % 25 = 7;
UPDATE part SET p_brand = 'Brand#12', p_container = 'SM CASE', p_size = 3 WHERE p_partkey % 50 = 11;
UPDATE part SET p_brand = 'Brand#34', p_container = 'LG BOX', p_size = 12 WHERE p_partkey % 50 = 31;
UPDATE part SET p_type = 'ECONOMY ANODIZED STEEL' WHERE p_partkey % 30 = 5;
INSERT INTO supplier SELECT i, 'Supplier#' || lpad(i::text, 9, '0'), 'street ' || i, i * 3 % 25, 10 + i * 3 % 25 || '-555-' || 1000 + i,
        i * 731 % 10000 - 900 + 0.25, CASE WHEN i % 17 = 0 THEN 'the Customer sent Complaints' ELSE 'supplier ' || i END
    FROM generate_series(1, 100) i;
INSERT INTO partsupp SELECT p, 1 + (p * 7 + s * 23) % 100, 1 + p * 31 % 9000, 1 + (p * 17 + s * 311) % 1000 + 0.75, 'stock'
    FROM generate_series(1, 2000) p, generate_series(0, 3) s;
INSERT INTO customer SELECT i, 'Customer#' || lpad(i::text, 9, '0'), 'road ' || i, i * 11 % 25, 10 + i * 11 % 25 || '-555-' || 1000 + i,
        i * 577 % 11000 - 999 + 0.75, (ARRAY['AUTOMOBILE', 'BUILDING', 'FURNITURE', 'MACHINERY', 'HOUSEHOLD'])[1 + i % 5], 'customer ' || i
    FROM generate_series(1, 900) i;
-- A third of the customers has no order.
INSERT INTO orders SELECT i, 1 + i * 7 % 300 * 3 + i % 2, (ARRAY['O', 'F', 'P'])[1 + i % 3], 1000 + i * 377 % 90000,
        DATE '1992-01-01' + i * 37 % 2400, (ARRAY['1-URGENT', '2-HIGH', '3-MEDIUM', '4-NOT SPECIFIED', '5-LOW'])[1 + i / 7 % 5],
        'Clerk#' || i % 100, 0, CASE WHEN i % 11 = 0 THEN 'special packages, requests' ELSE 'order ' || i END
    FROM generate_series(1, 6000) i;
INSERT INTO lineitem SELECT o, p, 1 + (p * 7 + (o + n) % 4 * 23) % 100, n, CASE WHEN o % 97 = 0 THEN 50 ELSE 1 + (o * 3 + n * 13) % 50 END,
        901 + (o * 29 + n * 401) % 50000, (o + n) % 11 * 0.01, (o + n) % 9 * 0.01,
        CASE WHEN d + n > DATE '1995-06-17' THEN 'N' WHEN (o + n) % 2 = 0 THEN 'R' ELSE 'A' END,
        CASE WHEN d + n > DATE '1995-06-17' THEN 'O' ELSE 'F' END, d + n * 5, d + 20 + (o + n) % 40, d + n * 5 + 1 + (o * n) % 30,
        (ARRAY['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'])[1 + (o + n) % 4],
        (ARRAY['AIR', 'AIR REG', 'MAIL', 'SHIP', 'RAIL', 'TRUCK', 'FOB'])[1 + (o + n * 3) % 7], 'line'
    FROM (SELECT o_orderkey AS o, o_orderdate AS d, n, 1 + (o_orderkey * 13 + n * 257) % 2000 AS p
        FROM orders, generate_series(1, CASE WHEN o_orderkey % 97 = 0 THEN 7 ELSE 1 + o_orderkey % 6 END) n) x;
ANALYZE;
