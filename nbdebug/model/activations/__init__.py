"""Exchange of activations: modules, functions, transformer layers."""
