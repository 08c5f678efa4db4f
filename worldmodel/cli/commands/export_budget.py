"""`worldmodel export budget`: what chips cannot beat for a size, steps and cameras."""

from worldmodel.export.budget import BudgetConfig, Floor, chosen, floor_of, headline, job_of, report
from worldmodel.measure.report import publish


def budget(config: BudgetConfig) -> list[Floor]:
    """Print the floors of chips; the last line is JSON.

    Raises:
        InputError: a size without a latent, an unknown chip, or an artifact that cannot be counted.
    """
    job, title = job_of(config)
    floors = [floor_of(chip, job) for chip in chosen(config.chip)]
    publish(report(title, job, floors), headline(job, floors))
    return floors
