from tests.core.io.conftest import file_size_limit

__all__ = ["file_size_limit"]
