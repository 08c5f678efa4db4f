"""The paper's ablations in miniature: five trainings on the toy world, several seeds, what came out.

python -m worldmodel.benchmarks.studies.miniature --root data/toyworld --keep
"""
