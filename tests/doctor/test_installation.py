from dataclasses import replace

from capriccio.doctor.installation import Extra, Speed, examine_installation, look_around

SPEED = Speed(
    configuration="64×64",
    train_images_per_second=10.0,
    generate_images_per_second=100.0,
    train_share_of_peak=0.7,
    seconds=10.0,
)


def sound(**changes):
    found = replace(look_around("cpu"), threads=2, cores=2, cache_room=2**40, extras=(), speed=SPEED)
    return replace(found, **changes)


def test_what_is_there_is_found():
    found = look_around("cpu")
    assert found.device == "cpu"
    assert found.precision.reason
    assert {"capriccio", "python", "torch", "numpy"} <= found.versions.keys()
    assert found.cores >= 1
    assert {extra.name for extra in found.extras} >= {"logs", "video"}
    assert "dev" not in {extra.name for extra in found.extras}


def test_a_sound_installation_has_nothing_wrong():
    assert examine_installation(sound()) == {}


def test_idle_cores_are_found():
    finding = examine_installation(sound(threads=1))["idle-cores"]
    assert "1 threads, 2 cores" in finding.evidence
    assert "OMP_NUM_THREADS" in finding.advice


def test_missing_extras_come_with_the_command_that_installs_them():
    extras = (Extra("logs", ("tensorboard",)), Extra("video", ()), Extra("web", ("fastapi", "uvicorn")))
    finding = examine_installation(sound(extras=extras))["missing-extras"]
    assert finding.advice.endswith("pip install 'capriccio[logs,web]'")
    assert "web needs fastapi, uvicorn" in finding.evidence


def test_little_room_for_the_cache_is_found():
    assert "0.5 GiB" in examine_installation(sound(cache_room=2**29))["little-room"].evidence


def test_slow_training_is_found():
    found = examine_installation(sound(speed=replace(SPEED, train_share_of_peak=0.2)))
    assert "20%" in found["slow"].evidence


def test_everything_is_json():
    import json

    document = json.loads(json.dumps(sound().to_dict()))
    assert document["precision"]["name"] in ("fp32", "bf16")
    assert document["speed"]["train_images_per_second"] == 10
