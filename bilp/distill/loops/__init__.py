"""The loops of the distillation methods, one module per kind of iteration."""
