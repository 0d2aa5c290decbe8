"""The doctor: `examine` a server's stream, or `examine_lab` the JupyterLab that has to show it. It prints nothing."""

from ccwatch.doctor.diagnosis import Diagnosis
from ccwatch.doctor.jupyterlab_check import LabDiagnosis, examine_lab
from ccwatch.doctor.stream import LISTEN_S, diagnose, examine

__all__ = ["LISTEN_S", "Diagnosis", "LabDiagnosis", "diagnose", "examine", "examine_lab"]
