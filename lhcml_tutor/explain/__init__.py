"""What has a network learned? Its latent space, the share of each input in its answer, and formulas in its place.

principal_components, read_out, correlation_table      the latent space, and what its directions are
DisentangledClassifier, disentangled_loss              a latent space that is made to be read
shapley_values, sampled_shapley                        the share of each input, unknown ones from other events
conditional_coalitions, shapley_of_game                the same with unknown ones as the known ones have them
find_formulas, judge_formula                           symbolic regression
auc_with_error, auc_difference                         classifiers compared on the same events
"""

from .classifiers import auc_difference, auc_with_error
from .disentangled import DisentangledClassifier, correlation_matrix, disentangled_loss, off_diagonal
from .expressions import Formula, complexity
from .formulas import find_formulas, find_formulas_with_pysr, judge_formula
from .latent import correlation_table, network_scores, principal_components, read_out, tree_scores
from .shapley import coalitions, conditional_coalitions, members, sampled_shapley, shapley_of_game, shapley_values

__all__ = [
    "DisentangledClassifier", "Formula", "auc_difference", "auc_with_error", "coalitions", "complexity",
    "conditional_coalitions", "correlation_matrix", "correlation_table", "disentangled_loss", "find_formulas",
    "find_formulas_with_pysr", "judge_formula", "members", "network_scores", "off_diagonal", "principal_components",
    "read_out", "sampled_shapley", "shapley_of_game", "shapley_values", "tree_scores",
]  # fmt: skip
