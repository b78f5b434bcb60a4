"""How many examples the property tests try: enough for every run here, many more in `deploy/check`."""

from hypothesis import settings

# no deadline: a busy machine is no fault
settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile("quick")
