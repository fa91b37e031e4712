"""The schedule that the tests of the planner speak about: the Volga district's, as the documentation prints it."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from prescaler.plan import Action, Exemption, Peak, Ramp, Schedule, Window


@pytest.fixture
def volga() -> Schedule:
    return Schedule(
        baseline=2,
        zones=(ZoneInfo("Europe/Moscow"), ZoneInfo("Europe/Samara"), ZoneInfo("Asia/Yekaterinburg")),
        windows=(Window("monthly-billing", 15, 26, 8, peaks=(Peak(18 * 3600, 22 * 3600, 12),)),),
        lead_s=30 * 60,
        ramp_up=Ramp(20 * 60, 4),
        ramp_down=Ramp(3600, 2),
        exemptions=(Exemption(date(2027, 1, 26), Action.EXTEND, until=date(2027, 1, 28)),),
    )
