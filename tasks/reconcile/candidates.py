"""B40: payments that more than one row of the other side may belong to, or that share such a row with others.

Nothing of them is matched by itself; the break lists what may belong together, and a person decides. Candidates
are looked for by the same keys as matches are (postings, settlements, returns), at the strongest key that finds
any. A few of each are named: a thousand equal rows are a thousand candidates, and no help to anybody.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from tasks.reconcile import returns
from tasks.reconcile.breaks import build
from tasks.reconcile.keys import id_key, without
from tasks.reconcile.model import BREAKS, TIME, Inputs, empty
from tasks.reconcile.postings import PAYMENT_KEYS, Books, levels, unclaimed_money
from tasks.reconcile.rules import Rules
from tasks.reconcile.settlements import Deposits
from tasks.reconcile.splits import in_pieces, to_whole

LISTED = 5  # candidates of one kind that a break names; the rest is counted
_PAYMENT = ["payment_guid", "payment_date", "account_number", "invoice_number", "payment_amount", "tender"]
_PAYMENT += ["payment_source", "processor_reference"]
_COLUMNS = ("item", "kind", "id", "level", "count")
_WORDS = {"posting": "posting", "settled": "settled item", "return": "return", "row": "row of the report",
          "rival": "other payment that fits as well"}  # fmt: skip
_PLURAL = {"row": "rows of the report", "rival": "other payments that fit as well"}


@dataclass(frozen=True)
class Sides:
    """What the payments were matched with, and what came of it."""

    data: Inputs
    lines: pl.DataFrame
    heirs: pl.DataFrame
    books: Books
    deposits: Deposits
    returned: returns.Returned


def ambiguous_breaks(work: pl.DataFrame, sides: Sides, rules: Rules) -> pl.DataFrame:
    """One B40 per GUID of the ambiguous payments in `work`; its amount is that of all rows under the GUID, USD."""
    doubtful = work.filter("ambiguous")
    if doubtful.is_empty():
        return empty(BREAKS)
    words = _words(_candidates(doubtful, sides, rules.zone))
    told = words.group_by("item", maintain_order=True).agg(
        detail=pl.col("words").str.join("; "), candidates=pl.struct("kind", "ids", "count")
    )
    rows = doubtful.join(told, on="item", how="left").with_columns(
        subject="payment_guid",
        amount="payment_amount",
        occurred_at="payment_date",
        due_at=pl.lit(None, TIME),
        detail=pl.col("detail").fill_null("rows of the other side contradict one another"),
        invoice="invoices",
    )
    evidence: dict[str, list[str] | str] = {"payment": _PAYMENT, "candidates": "candidates"}
    return build("B40", rules, rows, facts=("invoice", "detail"), evidence=evidence)


def _candidates(doubtful: pl.DataFrame, sides: Sides, zone: str) -> pl.DataFrame:
    """item, kind, id, level (0 strongest), count (rows under the same key): at its best level, per item and kind."""
    every = pl.concat(
        [_postings(doubtful, sides, zone), _settled(doubtful, sides), _returns(doubtful, sides, zone)]
    )
    best = pl.col("level") == pl.col("level").min().over("item", "kind")
    every = every.filter(best).unique(["item", "kind", "id"], keep="first", maintain_order=True)
    return pl.concat([every, _same_guid(doubtful), _rivals(every, doubtful)])


def _postings(doubtful: pl.DataFrame, sides: Sides, zone: str) -> pl.DataFrame:
    loose = unclaimed_money(sides.data.postings, sides.books)
    found = [_near(doubtful, loose.with_columns(id="posting_id"), ["guid_key"], "posting", 0)]
    free = loose.filter(pl.col("guid_key").is_null() & (pl.col("origin") == "IC"))
    pool = doubtful.select("item", *PAYMENT_KEYS)
    for level, (rule, ways, on) in enumerate(levels(sides.heirs), 1):
        both = in_pieces(ways, sides.lines) if rule == "key3" else ways
        left, right = both(pool, free, zone)
        right = right.with_columns(id="posting_id").unique(["id", *on])
        near = _near(left, right, on, "posting", level)
        found.append(to_whole(near, sides.lines).select(_COLUMNS))
    return pl.concat(found)


def _settled(doubtful: pl.DataFrame, sides: Sides) -> pl.DataFrame:
    """Rows of batches by guid, else by reference and amount."""
    rows = sides.data.settlements.with_row_index("row").filter(pl.col("transaction_type") == "PAYMENT")
    rows = without(rows, "row", sides.deposits.claims["row"], sides.deposits.excluded["row"]).with_columns(
        guid_key=id_key("payment_guid"),
        ref_key=id_key("processor_reference"),
        payment_amount="settled_amount",
        id=pl.concat_str(
            "settled_batch_id", pl.coalesce("payment_guid", "processor_reference"), separator="/"
        ),
    )
    nameless = rows.filter(pl.col("guid_key").is_null())
    named = _near(doubtful, rows, ["guid_key"], "settled", 0)
    return pl.concat([named, _near(doubtful, nameless, ["ref_key", "payment_amount"], "settled", 1)])


def _returns(doubtful: pl.DataFrame, sides: Sides, zone: str) -> pl.DataFrame:
    rows = sides.returned.rows.filter(pl.col("item").is_null()).with_columns(
        id=pl.format("{} of {}", "return_code", pl.col("reject_date").dt.strftime("%Y-%m-%d"))
    )
    own = sides.lines.join(doubtful.select("item"), on="item", how="semi")
    left, right = returns.by_account(doubtful, rows, zone, own)
    right = right.join(rows.select("row", "id"), on="row")
    named = _near(doubtful, rows, ["guid_key"], "return", 0)
    return pl.concat([named, _near(left, right, ["account", "invoice", "amount", "day"], "return", 1)])


def _near(left: pl.DataFrame, right: pl.DataFrame, on: list[str], kind: str, level: int) -> pl.DataFrame:
    """Rows of `right` (id) under the keys of `left` (item), LISTED of each key at most, and how many there are."""
    grouped = right.drop_nulls(on).group_by(on).agg(
        id=pl.col("id").unique().sort().head(LISTED), count=pl.len().cast(pl.Int64)
    )  # fmt: skip
    found = left.select("item", *on).unique().join(grouped, on=on).explode("id")
    kinds = {"kind": pl.lit(kind), "level": pl.lit(level, pl.Int32)}
    return found.with_columns(**kinds).select(_COLUMNS)


def _same_guid(doubtful: pl.DataFrame) -> pl.DataFrame:
    rows = doubtful.filter(pl.col("guid_key").is_duplicated())
    count = pl.len().over("guid_key").cast(pl.Int64)
    none = {"kind": pl.lit("row"), "id": pl.lit(None, pl.String), "level": pl.lit(0, pl.Int32)}
    return rows.with_columns(**none, count=count).select(_COLUMNS)


def _rivals(every: pl.DataFrame, doubtful: pl.DataFrame) -> pl.DataFrame:
    """Further payments that a candidate would fit as well."""
    named = every.join(doubtful.select("item", "payment_guid", "guid_key"), on="item")
    shared = named.group_by("kind", "id").agg(
        other=pl.struct("guid_key", "payment_guid").unique().sort().head(LISTED + 1),
        fit=pl.col("guid_key").n_unique().cast(pl.Int64),
    )
    both = named.join(shared.filter(pl.col("fit") > 1), on=["kind", "id"]).explode("other")
    other = pl.col("other").struct
    both = both.filter(other.field("guid_key") != pl.col("guid_key"))
    rivals = both.select(
        "item", kind=pl.lit("rival"), id=other.field("payment_guid"), level=pl.lit(0, pl.Int32),
        count=pl.col("fit") - 1,
    )  # fmt: skip
    return rivals.unique(["item", "id"], keep="first", maintain_order=True).select(_COLUMNS)


def _words(found: pl.DataFrame) -> pl.DataFrame:
    """item, kind, ids, count, words: one row per payment and kind."""
    order = pl.col("kind").replace_strict({kind: n for n, kind in enumerate(_WORDS)}, return_dtype=pl.Int8)
    grouped = (
        found.with_columns(order=order)
        .sort("item", "order", "id")
        .group_by("item", "kind", maintain_order=True)
        .agg(ids=pl.col("id").drop_nulls().head(LISTED), named=pl.len(), count=pl.col("count").max())
        .with_columns(count=pl.max_horizontal("named", "count"))
    )
    one = pl.col("kind").replace_strict(_WORDS)
    several = pl.col("kind").replace_strict(_PLURAL, default=pl.format("{}s", one))
    noun = pl.when(pl.col("count") == 1).then(one).otherwise(several)
    names = pl.col("ids").list.join(", ")
    rest = pl.when(pl.col("count") > pl.col("ids").list.len()).then(pl.lit(", …")).otherwise(pl.lit(""))
    named = pl.when(pl.col("ids").list.len() > 0).then(pl.format(": {}{}", names, rest))
    words = pl.concat_str(pl.format("{} {}", "count", noun), named, ignore_nulls=True)
    return grouped.with_columns(words=words)
