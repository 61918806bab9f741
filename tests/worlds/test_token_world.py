"""The token world: a gymnasium environment whose episodes are the texts of a toy language."""

import re

import gymnasium
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from rlhf_mini.exact import ToyLanguage
from rlhf_mini.worlds.token_world import TOKEN_WORLD, TokenWorld, rising_steps

LANGUAGE = ToyLanguage(vocabulary=3, steps=3)


@pytest.mark.filterwarnings("error")
def test_gymnasiums_checker_has_nothing_to_say():
    check_env(gymnasium.make(TOKEN_WORLD, render_mode="ansi").unwrapped)


def test_every_text_of_the_language_is_one_episode_and_its_score_comes_at_the_end():
    rewards = LANGUAGE.score(rising_steps)
    env = gymnasium.make(TOKEN_WORLD, language=LANGUAGE)
    for text, score, states in zip(
        LANGUAGE.texts, rewards.tolist(), LANGUAGE.state_before.tolist(), strict=True
    ):
        state, info = env.reset()
        assert info == {"text": ()}
        for place, token in enumerate(text):
            assert state == states[1 + place]
            state, reward, ended, cut, info = env.step(token)
            last = place == len(text) - 1
            assert (reward, ended, cut) == (score if last else 0.0, last, False)
            assert info == {"text": text[: place + 1]}
        assert state == len(LANGUAGE.states) == env.observation_space.n - 1


def test_rising_steps_by_hand():
    texts = {(0,): 0, (1, 0): 0, (1, 2, 0): 1, (2, 1, 0): 0, (1, 2, 3, 0): 2, (1, 2, 3, 4): 2, (4, 4): -1}
    assert {text: rising_steps(text) for text in texts} == texts


def test_another_reward_may_be_given():
    env = TokenWorld(LANGUAGE, reward=len)
    env.reset()
    assert [env.step(token)[1] for token in (1, 2, 2)] == [0.0, 0.0, 3.0]


def test_wrong_moves_are_refused():
    env = TokenWorld(LANGUAGE)
    env.reset()
    with pytest.raises(ValueError, match="a token from 0 to 2, got 3"):
        env.step(3)
    env.step(0)
    with pytest.raises(ValueError, match=re.escape("the text (0,) has ended; call reset")):
        env.step(1)
    with pytest.raises(ValueError, match="'ansi' or None, got 'human'"):
        TokenWorld(LANGUAGE, render_mode="human")


def test_render_shows_the_tokens():
    env = TokenWorld(LANGUAGE, render_mode="ansi")
    env.reset()
    assert env.render() == ""
    env.step(torch.tensor(2).item())
    env.step(1)
    assert env.render() == "2 1"
    assert TokenWorld(LANGUAGE).render() is None


def test_a_new_world_stands_at_the_beginning():
    """gymnasium asks for a reset first; without its wrapper, a new world has nothing written yet."""
    fresh, reset = TokenWorld(), TokenWorld()
    reset.reset()
    assert fresh.step(2) == reset.step(2)


def test_without_a_render_mode_nothing_is_rendered():
    silent = TokenWorld()
    silent.reset()
    assert silent.render() is None
