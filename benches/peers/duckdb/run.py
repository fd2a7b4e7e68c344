"""The views over a recorded stream as a user of DuckDB computes them. The last line printed tells rows per view.

    run.py views|bucketed|parse TRANSACTIONS MANDATES TEMPORARY_FOLDER

`views` joins collusion as the specification words it, `bucketed` by buckets of time, so that not all payments of a user
meet; `parse` reads the transactions, and sums every column up so that each is parsed.
"""

import json
import sys
import time
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
VIEWS = ["burst", "cadence", "collusion", "cross_merchant", "geo_stationarity", "replay", "replay_window", "scope"]
TRANSACTION = """{'tx_id': 'VARCHAR', 'agent_id': 'VARCHAR', 'user_id': 'VARCHAR', 'mandate_id': 'VARCHAR',
    'merchant': 'VARCHAR', 'merchant_category': 'VARCHAR', 'amount': 'DECIMAL(23, 8)', 'amount_minor': 'BIGINT',
    'currency': 'VARCHAR', 'lat': 'DECIMAL(10, 7)', 'lng': 'DECIMAL(10, 7)', 'tx_time': 'TIMESTAMPTZ',
    'record_time': 'TIMESTAMPTZ'}"""
MANDATE = """{'mandate_id': 'VARCHAR', 'scope_merchant': 'VARCHAR', 'max_amount': 'DECIMAL(23, 8)',
    'max_amount_period': 'VARCHAR', 'currency': 'VARCHAR', 'valid_from': 'TIMESTAMPTZ', 'valid_to': 'TIMESTAMPTZ'}"""


def sql(name):
    return (HERE / "views" / f"{name}.sql").read_text()


def main():
    begun = time.monotonic()
    mode, transactions, mandates, temporary = sys.argv[1:]
    database = duckdb.connect()
    # What a machine for this can spare; beyond it DuckDB goes to the disk, of which it must leave some.
    database.execute("SET memory_limit = '12GB'")
    database.execute("SET temp_directory = ?", [temporary])
    database.execute("SET max_temp_directory_size = '4GB'")
    database.execute("SET TimeZone = 'UTC'")
    reader = "SELECT * FROM read_json(?, format = 'newline_delimited', columns = {})"
    rows = {}
    if mode == "parse":
        summed = database.execute(sql("parse").format(source=reader.format(TRANSACTION)), [transactions]).fetchone()
        records = summed[0]
    else:
        database.execute("CREATE TABLE read_transactions AS " + reader.format(TRANSACTION), [transactions])
        database.execute("CREATE TABLE read_mandates AS " + reader.format(MANDATE), [mandates])
        records = database.execute("SELECT COUNT(*) FROM read_transactions").fetchone()[0]
        for table in ["transactions", "mandates"]:
            database.execute(f"CREATE TABLE {table} AS {sql(table)}")
        for view in VIEWS:
            source = "collusion_bucketed" if view == "collusion" and mode == "bucketed" else view
            database.execute(f"CREATE TABLE {view} AS {sql(source)}")
            rows[view] = database.execute(f"SELECT COUNT(*) FROM {view}").fetchone()[0]
    elapsed = time.monotonic() - begun
    print(json.dumps({"records": records, "elapsed_s": round(elapsed, 3), "version": duckdb.__version__,
                      "views": rows, "final": True}))


if __name__ == "__main__":
    main()
