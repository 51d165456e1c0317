terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # State beside these files is fine to try it; a team keeps it in a bucket:
  # backend "gcs" { bucket = "my-terraform-state", prefix = "photo-worker" }
}

provider "google" {
  project = var.project
  region  = var.region
}
