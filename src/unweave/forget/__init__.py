"""Unlearning: one trainer, and the methods that give it a loss."""

from unweave.forget.config import ForgetConfig
from unweave.forget.forget import ForgetResult, forget
from unweave.forget.methods import METHODS, get_method

__all__ = ["METHODS", "ForgetConfig", "ForgetResult", "forget", "get_method"]
