"""The distances against closed forms."""

import pytest
import torch
from tools.experiment import coverage, local_kernel, one_nearest

from mind2mind.judge.metrics import PrincipalAxes, energy_distance, nearest, psnr, span, standardisation


def normal(n, d, seed=0, mean=0.0, std=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * std + mean


def test_psnr_of_a_known_error():
    x = torch.zeros(2, 3, 8, 8)
    y = torch.stack(
        [torch.full((3, 8, 8), 0.2), torch.full((3, 8, 8), 0.02)]
    )  # 0.1 and 0.01 of the range of 1
    assert psnr(x, y).tolist() == pytest.approx([20, 40], abs=1e-3)


def test_energy_distance_of_two_points_and_of_equal_laws():
    apart = energy_distance(torch.zeros(50, 3), torch.ones(50, 3))
    assert apart == pytest.approx(1.0, abs=1e-5)
    same = energy_distance(normal(2000, 8, seed=1), normal(2000, 8, seed=2))
    assert abs(same) < 1e-3
    assert energy_distance(normal(2000, 8, seed=1), normal(2000, 8, seed=2, mean=0.5)) > 0.01


def test_coverage_tells_copies_collapse_and_outliers():
    real = normal(400, 4, seed=5)
    assert set(coverage(real, real.clone()).values()) == {1.0}
    collapsed = real[:1].repeat(400, 1) + normal(400, 4, seed=6, std=1e-3)
    result = coverage(real, collapsed)
    assert result["precision"] > 0.9
    assert (
        result["recall"] < 0.05 and result["symPrecision"] < 0.1
    )  # the samples' balls hold hardly a real one
    assert coverage(real, real + 100)["precision"] == 0


def test_scattered_samples_have_recall_and_no_symmetric_one():
    real = normal(400, 8, seed=5)
    result = coverage(real, 3 * normal(400, 8, seed=6))
    assert result["recall"] > 0.9 and result["symRecall"] == result["coverage"] < 0.5


def test_the_nearest_neighbour_and_the_local_kernel_tell_two_laws_apart():
    real, same, other = normal(500, 4, seed=5), normal(500, 4, seed=6), normal(500, 4, seed=7, std=0.5)
    assert one_nearest(real, same) == pytest.approx(0.5, abs=0.04) and one_nearest(real, other) > 0.6
    assert one_nearest(real, real + 100) == 1
    assert abs(local_kernel(real, same)) < 0.01 < local_kernel(real, other)


def test_nearest_finds_itself():
    w = normal(20, 5)
    distance, index = nearest(w[[3, 7]] + 1e-4, w, 2)
    assert index[:, 0].tolist() == [3, 7]
    assert distance[:, 0].max() < 1e-3 < distance[:, 1].min()
    assert nearest(w[:0], w)[0].shape == (0, 1)


def test_the_span_keeps_what_varies_and_nothing_else():
    directions = normal(3, 8)
    w = normal(500, 3) @ directions + 7
    w[:, 5] = 2.0  # never varies
    kept = span(w, 0.99)
    torch.testing.assert_close((w[1:] - w[:-1]) @ kept, w[1:] - w[:-1], atol=0.05, rtol=0.05)
    moved = normal(500, 8, seed=5) @ kept
    assert torch.linalg.matrix_rank(moved, rtol=1e-4) <= 3 and moved[:, 5].abs().max() < 1e-3
    torch.testing.assert_close(moved @ kept, moved, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(span(w, 1.0) @ kept, kept, atol=1e-4, rtol=1e-4)
    assert span(torch.ones(50, 8), 0.99).abs().max() == 0  # nothing varies: nothing is kept


def test_standardisation_has_a_floor_and_axes_are_orthonormal():
    w = normal(200, 6)
    w[:, 2] = 5.0  # never varies
    mean, std = standardisation(w)
    assert mean[2].item() == pytest.approx(5.0)
    assert std[2].item() == pytest.approx(0.01 * w.std(dim=0, correction=0).mean().item(), rel=1e-4)
    axes = PrincipalAxes.of(w, 4)
    torch.testing.assert_close(axes.axes.T @ axes.axes, torch.eye(4), atol=1e-5, rtol=0)
    assert axes.project(w).var(dim=0).diff().max() <= 1e-5  # in falling order
