from tests import annotations as annotations
