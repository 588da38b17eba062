"""Floor 0: records, history, commands, plug-ins and errors. No torch, no widgets."""
