"""A problem's `type` is a page of the service that says what holds and what to do (RFC 9457, section 3.1.1)."""

from __future__ import annotations

from urllib.parse import urljoin

import httpx
import pytest

from energy.wire.problems import KINDS, Problem


def type_of(code: str) -> str:
    return str(Problem(code, "detail").document()["type"])


@pytest.mark.parametrize("code", KINDS)
def test_the_type_of_a_problem_leads_to_its_explanation_on_the_service(client: httpx.Client, code: str) -> None:
    page = client.get(urljoin(f"{client.base_url}/v1/readings", type_of(code)))
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f"<h1>{KINDS[code].title}</h1>".replace("'", "&#x27;") in page.text
    assert f"<code>{code}</code>" in page.text
    assert "What to do" in page.text


def test_a_type_needs_no_domain_and_has_a_whole_path() -> None:
    assert {type_of(code).rpartition("/")[0] for code in KINDS} == {"/problems"}


def test_a_page_of_no_problem_is_a_problem_that_leads_to_all(client: httpx.Client) -> None:
    answer = client.get("/problems/<script>")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    everything = client.get("/problems").text
    assert [code for code in KINDS if f'href="{type_of(code)}"' not in everything] == []


def test_the_pages_of_problems_can_be_read_aloud_and_on_a_phone(client: httpx.Client) -> None:
    for path in ("/problems", type_of("doubtful")):
        page = client.get(path)
        assert "default-src 'self'" in page.headers["content-security-policy"]
        for needed in ('<html lang="en">', "<title>", "<main>", "<h1>", 'name="viewport"'):
            assert needed in page.text, needed
        assert "<script" not in page.text
