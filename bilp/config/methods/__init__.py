"""What each distillation method is: its settings, its published values, its facts."""
