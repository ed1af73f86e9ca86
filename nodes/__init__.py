"""The nodes: what a graph author sees. The only code that imports ComfyUI."""
