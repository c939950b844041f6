"""The metrics themselves under test: do they separate models that were trained on rows from models that were not?"""
