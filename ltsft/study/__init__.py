"""From many runs to a table: Algorithm 1 over languages, as ``ltsft study`` runs it.

Read in this order: :mod:`config` (what a study says), :mod:`plan` (the runs that follow from it, as
command lines), :mod:`workflow` (Snakemake, which decides what runs where), :mod:`job` (the runs of
one stage in one process), :mod:`pretrain` (a tiny base model for the built-in languages),
:mod:`table` (scores side by side). Nothing heavy is imported here.
"""
