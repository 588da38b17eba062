"""Floor 0, without torch and widgets: records, history, commands, plug-ins and results."""
