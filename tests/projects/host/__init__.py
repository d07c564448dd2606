"""A host: the app `shop` of a small project, whose own tests are run by tests of ours.

These modules are copied into the project; nothing here imports them.
"""
