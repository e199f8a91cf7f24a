"""All scenarios, by name."""

from __future__ import annotations

from differential import dispositions, paging, recorded, shapes, walks

SCENARIOS = {
    scenario.name: scenario for group in (shapes, dispositions, paging, walks, recorded) for scenario in group.SCENARIOS
}
