"""What is wrong, and what to set: `examine` a server's stream, `examine_lab` the JupyterLab that has to show it. Prints nothing."""

from ccwatch.doctor.lab import LabDiagnosis, examine_lab
from ccwatch.doctor.stream import LISTEN_S, Diagnosis, diagnose, examine

__all__ = ["LISTEN_S", "Diagnosis", "LabDiagnosis", "diagnose", "examine", "examine_lab"]
