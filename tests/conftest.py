"""How many examples the property tests try: the same few in every run, many new ones in `deploy/check`'s own step."""

from hypothesis import HealthCheck, settings

# a busy machine is no fault: no deadline, and no check of how long examples take to make
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# the same examples every time, so that a run fails for what was changed, not for what was drawn
settings.register_profile("quick", _patient, max_examples=40, derandomize=True)
settings.register_profile("thorough", _patient, max_examples=400, print_blob=True)
settings.load_profile("quick")
