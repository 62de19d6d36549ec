"""The bai2 library as we use it: own readers where it would refuse a whole statement for what a bank may write.

It refuses type codes that it does not know, records without their empty last fields, and account records with
some forms of spread availability. Its record counts and control totals stay in force beside our own proof.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from bai2.constants import FundsType
from bai2.exceptions import IntegrityException, NotSupportedYetException, ParsingException
from bai2.helpers import IteratorHelper
from bai2.models import Record, Summary
from bai2.parsers import (
    AccountIdentifierParser,
    AccountParser,
    Bai2FileParser,
    GroupParser,
    TransactionDetailParser,
)

from tasks.bank.proof import extend, summaries
from tasks.errors import BadAnswer

# What the library raises on files that it cannot read; it has no common base for them.
_REFUSALS = (ParsingException, NotSupportedYetException, ValueError, IndexError, TypeError, AttributeError)


class _Detail(TransactionDetailParser):  # type: ignore[misc]
    """A line, its type code left as text."""

    head_fields_config = ("type_code", ("amount", int), ("funds_type", FundsType))

    def _parse_fields(self, record: Any) -> Any:
        try:
            return super()._parse_fields(record)
        except IndexError:  # its references and text were left out, with their commas
            return super()._parse_fields(Record(record.code, [*record.fields, "", ""], record.rows))


class _Identifier(AccountIdentifierParser):  # type: ignore[misc]
    """The account; of its summaries only the sum, which the control total needs."""

    def _parse_fields(self, record: Any) -> Any:
        lines = [text for _, text in record.rows]
        fields = lines[0].removesuffix("/").split(",")
        for before, line in pairwise(lines):
            extend(fields, line.removesuffix("/").split(","), before)
        number, currency = [*fields, ""][:2]
        return {
            "customer_account_number": number,
            "currency": currency or None,
            "summary_items": [Summary(amount=summaries(fields, 0))],
        }


class _Account(AccountParser):  # type: ignore[misc]
    header_parser_class = _Identifier
    child_parser_class = _Detail


class _Group(GroupParser):  # type: ignore[misc]
    child_parser_class = _Account


class _File(Bai2FileParser):  # type: ignore[misc]
    child_parser_class = _Group


def parse(lines: list[str]) -> Any:
    """One logical file (proven: it ends with its 99) → the library's Bai2File.

    Raises BadAnswer; its words hold numbers and record codes only.
    """
    try:
        return _File(IteratorHelper(lines)).parse()
    except IntegrityException as error:
        raise BadAnswer(f"does not add up: {error}", reason="bank_control_total") from None
    except _REFUSALS as error:
        known = isinstance(error, ParsingException | NotSupportedYetException)
        why = str(error) if known else f"a field has a form that BAI2 does not know ({type(error).__name__})"
        raise BadAnswer(f"cannot be read as BAI2: {why}", reason="bad_file") from None
