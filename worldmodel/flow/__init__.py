"""The theory: tensors only, no model and no data."""
