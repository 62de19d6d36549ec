"""The bank's statement: BAI2 through the bai2 library, proven by ourselves; line ids for every form of it.

`statement.read_statement` gives text columns as a CSV of the contract would have them; tasks.imt_files reads on.
"""
