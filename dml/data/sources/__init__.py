"""Where images come from: folders, tables, arrays, other libraries' datasets, published benchmarks."""
