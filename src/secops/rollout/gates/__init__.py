"""What must hold before a rollout moves on: gates, the evidence that they weigh, and how it is drawn."""
