"""Models behind an OpenAI-compatible server: what can be measured of a model whose weights are not at hand."""
