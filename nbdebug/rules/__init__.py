"""Rules (floor 2): one file per symptom that is detected during training."""
