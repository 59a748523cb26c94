"""The rules of static pruning, one module each: a function of a `bilp.pruning.choice.Choice` that says which samples stay.

Which there are, and what each reads of the settings, is said in `bilp.config.rules`.
"""
