"""The insured: accounts with leading zeros, names as people really write them, policies, premiums."""

from __future__ import annotations

import polars as pl

from sandbox.carrier.draws import Draws

# fmt: off
FIRST = ("Ana", "Zoë", "José", "Müge", "Björn", "D'Arcy", "Mary  Ann", "Siobhán", "Łukasz", "Renée", "John",
         "Mary", "Li", "Nguyễn", "Aisha", "Omar", "Olga", "Peter", "Inès", "Søren", "Grace", "Tom", "Ruth", "Eva")
LAST = ("Díaz", "O'Brien", "Müller", "Ålund", "Smith", "Johnson", "Lee", "Núñez", "Weiß", "Æbelø", "Garcia",
        "Brown", "St. John", "Kowalski", "Jones-Smith", "Nakamura", "Van  Dyke", "Çelik", "Miller", "Davis",
        "Okafor", "Kim", "Lopez", "Clark", "Hall", "Young", "King", "Wright", "Baker", "Ñáñez")
FIRMS = ("O'Brien & Sons <LLC>", "Müller & Söhne", "A & B  Plumbing", "Café \"Zoë\"", "Smith & Co.", "M&M Trucking",
         "Lee, J.", "Ålund's Auto Body", "Garcia  & Daughters", "R&D > Partners")
# fmt: on
ALIKE_EACH, ALIKE_BELOW = 100, 1_000  # accounts


def accounts(draws: Draws, count: int, *, alike: bool) -> pl.DataFrame:
    """One row per account, in order of its number. Money in cents; `invoice_day` is 1..28; `agent` is a code.

    `alike`: a few accounts have the number of the one before, but for leading zeros.
    """
    number = pl.int_range(count, dtype=pl.Int64, eager=True) * 3 + 10_007
    person = draws.pick("first", count, FIRST) + " " + draws.pick("last", count, LAST)
    firm = draws.pick("firm", count, FIRMS)
    frame = pl.DataFrame(
        {
            "number": number,
            "person": person,
            "firm": firm,
            "is_firm": draws.chance("is_firm", count, 120),
            "premium_cents": draws.between("premium", count, 4_011, 60_999),
            "invoice_type_id": draws.pick("type", count, {"3": 4, "4": 1}).cast(pl.Int32),
            "invoice_day": draws.between("day", count, 1, 28),
            "autopay": draws.chance("autopay", count, 350),
            "paperless": draws.chance("paperless", count, 480),
            "registered": draws.chance("registered", count, 600),
            "agent": draws.between("agent", count, 1, 90),
        }
    )
    text, acct = pl.col("number").cast(pl.String), pl.int_range(pl.len(), dtype=pl.Int64)
    fewer = (acct % ALIKE_EACH == 1) & (acct < ALIKE_BELOW) & pl.lit(alike)
    shown = pl.when(fewer).then(text.shift(1).str.zfill(6)).otherwise(text.str.zfill(8))
    return frame.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("acct"),
        shown.alias("account_number"),
        pl.when("is_firm").then("firm").otherwise("person").alias("customer_name"),
        pl.concat_str(pl.lit("POL-"), text.str.zfill(8)).alias("policy_number"),
        pl.concat_str(pl.lit("C-"), text).alias("customer_id"),
        pl.concat_str(pl.lit("insured"), text, pl.lit("@example.com")).alias("email"),
        "premium_cents",
        "invoice_type_id",
        "invoice_day",
        "autopay",
        "paperless",
        (pl.col("registered") | pl.col("autopay") | pl.col("paperless")).alias("registered"),
        pl.concat_str(pl.lit("AG-"), pl.col("agent").cast(pl.String).str.zfill(4)).alias("agent"),
    )
