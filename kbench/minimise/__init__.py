"""The smallest kernel config that still crashes. Read `minimise` first."""

from kbench.minimise.driver import minimise
from kbench.minimise.options import Setting
from kbench.minimise.result import ConfigTest, KeptOption, MinimisedConfig

__all__ = ["ConfigTest", "KeptOption", "MinimisedConfig", "Setting", "minimise"]
