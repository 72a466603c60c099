"""How good results are: data sets in their own layouts, the measures of the field, and reports that can be compared.

Every number in the documentation comes through this room: inference over a data set (or predictions that exist), measures
checked against their reference evaluators, and a run folder with ``run.json``, ``rows.csv`` and ``report.html``.
"""
