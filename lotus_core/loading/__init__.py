"""From a name to verified modules: the catalogue, the Hub, and safetensors files."""
