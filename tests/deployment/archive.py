"""Reads an archive as the data team does."""

import pathlib
from concurrent.futures import ThreadPoolExecutor

import boto3
import duckdb

SQL = (pathlib.Path(__file__).parents[1] / "archive" / "archive.sql").read_text()


def download(environment, directory):
    """The objects of a deployment's archive, as files."""
    s3 = boto3.client("s3", endpoint_url=environment["SOUNDOFF_S3_ENDPOINT"], region_name="us-east-1")
    bucket = environment["SOUNDOFF_ARCHIVE_BUCKET"]

    def fetch(key):
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        # MiniStack gives names their file extension, but compresses nothing.
        path = directory / (key if data.startswith(b"\x1f\x8b") else key.removesuffix(".gz"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, [entry["Key"] for page in pages for entry in page.get("Contents", [])]))
    return directory


def events_of(directory, columns):
    """Columns of each event of the archive under a directory that holds events/."""
    db = duckdb.connect()
    db.execute(SQL.replace("ROOT", str(directory).replace("'", "''")))
    return db.execute(f"SELECT {columns} FROM events").fetchall()


def ids_of(directory):
    """The distinct ids of all events."""
    rows = events_of(directory, "id")
    assert len(rows) == len({id for (id,) in rows}), "the view shows each id once"
    return {id for (id,) in rows}
