"""The peers of the precompute benchmark: the same files and the same results, in an engine somebody else wrote.

    peers.py duckdb|duckdb-ids|polars|rank DIRECTORY

duckdb and polars find each reader's newest 100 posts of the authors they follow, where posts are known by small numbers that rise with
time: to use them like this, all posts must be numbered first. duckdb-ids does it by our own ids, 128 bits each. rank takes our
chronological timelines, computes every item's parts in SQL by docs/timelines.md, and orders each timeline by score. Each prints wall seconds, CPU seconds, the process's peak
memory in MB and the count of items, and writes its result as little-endian u32. Loading is not timed; there is a thread for each
core.
"""

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

ITEMS = 100
NOW_MS = 1_790_000_000_000


def column(directory, name):
    return np.fromfile(directory / name, dtype=np.uint32)


def timed(work):
    """Runs the work; answers what it made, wall seconds and CPU seconds."""
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    made = work()
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return made, wall, cpu


def report(wall, cpu, items):
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(wall, cpu, peak_mb, items, flush=True)


def follows(directory):
    """One row a follow: reader and author."""
    begins = column(directory, "follow_begins")
    readers = np.repeat(np.arange(len(begins) - 1, dtype=np.uint32), np.diff(begins))
    return {"reader": readers, "author": column(directory, "follows")}


def posts(directory):
    """One row a post: its number, which rises with time, and its author."""
    author = column(directory, "post_author")
    return {"post": np.arange(len(author), dtype=np.uint32), "author": author}


def duckdb(directory, by="post", name="duckdb"):
    import duckdb

    db = duckdb.connect(config={"temp_directory": str(directory / "spill")})
    follow_rows, post_rows = follows(directory), posts(directory)
    post_rows["made"] = NOW_MS - column(directory, "post_ago_ms").astype(np.uint64)
    db.sql("create table follows as select * from follow_rows")
    # An id is the time in milliseconds over 80 bits, which hold the post's number here.
    post = {"post": "post", "id": "made::uhugeint * (1::uhugeint << 80) + post as id"}[by]
    db.sql(f"create table posts as select {post}, author from post_rows")
    del follow_rows, post_rows
    newest = f"""
        create table newest as
        select reader, max({by}, {ITEMS}) as newest from follows join posts using (author) group by reader
    """
    _, wall, cpu = timed(lambda: db.sql(newest))
    number = "post" if by == "post" else "(post % (1::uhugeint << 80))::uinteger as post"
    rows = db.sql(f"select {number} from (select unnest(newest) as post from (from newest order by reader))")
    rows = rows.fetchnumpy()["post"]
    rows.astype(np.uint32).tofile(directory / f"{name}_chronological")
    report(wall, cpu, len(rows))


def polars(directory):
    import polars as pl

    follow_rows, post_rows = pl.DataFrame(follows(directory)), pl.DataFrame(posts(directory))
    joined = follow_rows.lazy().join(post_rows.lazy(), on="author")
    plan = joined.group_by("reader").agg(pl.col("post").top_k(ITEMS))
    made, wall, cpu = timed(lambda: plan.collect(engine="streaming"))
    lists = made.sort("reader").select(pl.col("post").list.sort(descending=True))
    rows = lists.explode("post")["post"].to_numpy()
    rows.astype(np.uint32).tofile(directory / "polars_chronological")
    report(wall, cpu, len(rows))


def rank(directory):
    import duckdb

    db = duckdb.connect(config={"temp_directory": str(directory / "spill")})
    lengths = column(directory, "ours_lengths")
    item_rows = {
        "reader": np.repeat(np.arange(len(lengths), dtype=np.uint32), lengths),
        "post": column(directory, "ours_chronological"),
    }
    post_rows = posts(directory) | {
        "engagement": column(directory, "post_engagement"),
        "minutes": column(directory, "post_ago_ms") // 60_000,
    }
    pairs = column(directory, "affinities").reshape(-1, 2)
    begins = column(directory, "affinity_begins")
    readers = np.repeat(np.arange(len(begins) - 1, dtype=np.uint32), np.diff(begins))
    # The file names an author by the place among the reader's follows.
    authors = column(directory, "follows")[column(directory, "follow_begins")[readers] + pairs[:, 0]]
    affinity_rows = {"reader": readers, "author": authors, "worth": np.ascontiguousarray(pairs[:, 1])}
    db.sql("create table items as select * from item_rows")
    db.sql("create table posts as select * from post_rows")
    db.sql("create table affinities as select * from affinity_rows")
    ranked = """
        with parts as (
            select reader, post, author,
                round(1024 * pow(2, minutes / -360.0))::uinteger as age,
                round(1024 * 0.5 * log2(1 + coalesce(worth, 0) / 100.0))::uinteger as affinity,
                round(1024 * 0.25 * log2(1 + engagement::double))::uinteger as popularity
            from items join posts using (post) left join affinities using (reader, author)
        )
        select post, author, age, affinity, popularity from parts
        order by reader, age + affinity + popularity desc, post desc
    """
    made, wall, cpu = timed(lambda: db.sql(ranked).fetchnumpy())
    names = ["post", "author", "age", "affinity", "popularity"]
    rows = np.stack([made[name].astype(np.uint32) for name in names], axis=1)
    rows.tofile(directory / "peer_ranked")
    report(wall, cpu, len(rows))


if __name__ == "__main__":
    contender, directory = sys.argv[1:]
    contenders = {
        "duckdb": duckdb,
        "duckdb-ids": lambda directory: duckdb(directory, by="id", name="duckdb-ids"),
        "polars": polars,
        "rank": rank,
    }
    contenders[contender](Path(directory))
