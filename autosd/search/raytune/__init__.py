"""The engine on Ray Tune: Tune puts workers on slots and steps them, and decides nothing.

Ray reads its settings while it is imported, so they are made here: before any module of this
package imports it.
"""

import os

# `setdefault` leaves the last word to the user.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every socket on 127.0.0.1; see `Cluster.allow`
    "RAY_AUTH_MODE": "token",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's would wait for the running epochs
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "RAY_ROTATION_MAX_BYTES": "10485760",
    "RAY_ROTATION_BACKUP_COUNT": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "$",  # else the raylet's remarks on dead workers are printed
}.items():
    os.environ.setdefault(_name, _value)
