"""A host: the app `shop` of a small project, whose own tests a test run of ours runs.

These modules are copied into the project; nothing here imports them.
"""
