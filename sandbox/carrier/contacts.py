"""Where the insured live and how to reach them: all made up, telephones in the range that nobody has."""

from __future__ import annotations

import polars as pl

from sandbox.carrier.draws import Draws

# fmt: off
STREETS = ("Main St", "Oak Ave", "Elm St", "St. Mary's Rd", "Washington Blvd", "2nd Ave N", "Peña Ln", "Lake Dr",
           "County Road 12", "Çelik Way", "O'Hara Ct", "Park & Ride Pl")
TOWNS = (("Springfield", "IL", "62701"), ("Saint Paul", "MN", "55102"), ("Cañon City", "CO", "81212"),
         ("Boston", "MA", "02108"), ("La Crosse", "WI", "54601"), ("Coeur d'Alene", "ID", "83814"),
         ("Des Moines", "IA", "50309"), ("Newark", "NJ", "07102"))
# fmt: on
COLUMNS = ("customer_name", "address1", "address2", "city", "state_code", "zip", "phone", "email")


def contacts(draws: Draws, accounts: pl.DataFrame) -> pl.DataFrame:
    """One row per account: `acct` and COLUMNS, all text; only `address2` may be null."""
    rows = accounts.height
    town = draws.below("town", rows, len(TOWNS))
    parts = [pl.Series(list(column), dtype=pl.String).gather(town) for column in zip(*TOWNS, strict=True)]
    house = draws.between("house", rows, 1, 9_899).cast(pl.String)
    flat = draws.between("flat", rows, 1, 48).cast(pl.String)
    line = draws.between("line", rows, 100, 199).cast(pl.String)  # 555-0100 to 555-0199 are kept for fiction
    return accounts.with_columns(
        (house + " " + draws.pick("street", rows, STREETS)).alias("address1"),
        pl.when(draws.chance("has_flat", rows, 150)).then("Apt " + flat).alias("address2"),
        *(part.alias(name) for name, part in zip(("city", "state_code", "zip"), parts, strict=True)),
        ("(312) 555-0" + line).alias("phone"),
    ).select("acct", *COLUMNS)
