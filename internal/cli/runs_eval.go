package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/downbeat-dev/downbeat/internal/expr"
	"github.com/downbeat-dev/downbeat/internal/server"
	"github.com/downbeat-dev/downbeat/internal/value"
)

func (a *app) evalCommand() *cobra.Command {
	var iteration string
	var output bool
	cmd := &cobra.Command{
		Use:   "eval ID REF EXPRESSION",
		Short: "Evaluate an expression on the recorded data of a task",
		Long: `Evaluate an expression on the recorded data of a task of a run: '.' is the task's
input, or with --on-output its output; $context, $input, $task, $workflow and the
variables of the loops around are as the task saw them. So a correction can be
tried on real data before a retry.`,
		Example: `  downbeat runs eval 01890a5d-ac96-774b-bcce-b302099a8057 /do/2/apply '.items | length'
  downbeat runs eval 01890a5d-ac96-774b-bcce-b302099a8057 fetch --on-output '.body.total'
  downbeat runs eval 01890a5d-ac96-774b-bcce-b302099a8057 bill --iteration 3 '$customer.id'`,
		Args: args(3, 3, "the ID of the run, the REFerence of a task, or the EXPRESSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := a.runID(cmd.Context(), nil, args[0])
			if err != nil {
				return err
			}
			at, err := placeOf(args[1], iteration)
			if err != nil {
				return err
			}
			return a.withNode(cmd.Context(), func(ctx context.Context, n *server.Node) error {
				v, err := n.Control.Evaluate(ctx, id, at, args[2], output)
				if e, wrong := errors.AsType[*expr.SyntaxError](err); wrong {
					return usage("it is jq, in quotes for the shell, such as '.items | length'", "the expression %s does not compile: %w", args[2], e)
				}
				if err != nil {
					return a.refusal(id, fmt.Errorf("evaluate: %w", err))
				}
				return a.print(value.FromAny(v))
			})
		},
	}
	cmd.Flags().BoolVar(&output, "on-output", false, "'.' is the output of the task")
	cmd.Flags().StringVar(&iteration, "iteration", "", "which iteration of the loops around, outermost first: `I[,J…]`")
	return cmd
}
