"""One file for every symptom that is looked for while a model trains."""
