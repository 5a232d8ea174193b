"""Finding ready tasks, running their attempts, committing their results."""
