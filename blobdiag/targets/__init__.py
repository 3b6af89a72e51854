"""What can be measured: our engine, another engine, any program."""
