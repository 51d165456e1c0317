# What a plan comes to, with a provider that creates nothing: run by `make lint-deploy`.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789" }
  }
  mock_data "google_storage_project_service_account" {
    defaults = { member = "serviceAccount:storage@example.com" }
  }
  mock_data "google_compute_subnetwork" {
    defaults = { network = "projects/host/global/networks/shared" }
  }
}

variables {
  project = "example"
  image   = "us-central1-docker.pkg.dev/example/photos/photo-worker@sha256:0000000000000000000000000000000000000000000000000000000000000000"
}

run "without_an_image_nothing_runs" {
  variables {
    image = ""
  }

  assert {
    condition     = length(google_compute_region_instance_group_manager.workers) == 0 && length(google_compute_network.workers) == 0
    error_message = "There is nothing to run yet, so nothing may run."
  }
  assert {
    condition     = google_artifact_registry_repository.images.repository_id == "photos"
    error_message = "The image needs a place to be pushed to first."
  }
}

run "spot_machines" {
  assert {
    condition     = google_compute_instance_template.worker[0].scheduling[0].provisioning_model == "SPOT"
    error_message = "Spot is the default."
  }
  assert {
    condition     = length(google_compute_instance_template.worker[0].network_interface[0].access_config) == 0
    error_message = "Workers have no address of their own."
  }
  assert {
    condition     = strcontains(google_compute_instance_template.worker[0].metadata["user-data"], "WORKER_PREEMPTION_NOTICE=on")
    error_message = "A spot machine listens for its notice."
  }
  assert {
    condition     = startswith(google_compute_instance_template.worker[0].metadata["user-data"], "#cloud-config\n")
    error_message = "cloud-init knows it by its first line."
  }
  assert {
    condition     = yamldecode(google_compute_instance_template.worker[0].metadata["user-data"])["write_files"][1]["path"] == "/etc/systemd/system/photo-worker.service"
    error_message = "What cloud-init is given is YAML with the unit in it."
  }
  assert {
    condition     = strcontains(google_compute_instance_template.worker[0].metadata["user-data"], "--registries=us-central1-docker.pkg.dev\n")
    error_message = "Docker has credentials for the registry that the image is in."
  }
  assert {
    condition     = google_compute_region_autoscaler.workers[0].autoscaling_policy[0].min_replicas == 0
    error_message = "Nothing waits, nothing runs."
  }
  assert {
    condition     = jsondecode(google_monitoring_dashboard.this.dashboard_json).displayName == "photos: photo-worker"
    error_message = "The dashboard is JSON."
  }
  assert {
    condition     = length(google_cloud_run_v2_worker_pool.workers) == 0
    error_message = "One kind of workers at a time."
  }
  assert {
    condition     = contains(keys(google_storage_notification.originals), "example-photos-originals")
    error_message = "Uploads are events."
  }
  assert {
    condition     = google_pubsub_topic_iam_member.pubsub_dead_letters.member == "serviceAccount:service-123456789@gcp-sa-pubsub.iam.gserviceaccount.com"
    error_message = "Pub/Sub's own account moves dead letters."
  }
}

run "machines_on_demand_in_a_given_network" {
  variables {
    spot       = false
    subnetwork = "projects/host/regions/us-central1/subnetworks/shared"
    zones      = ["us-central1-a", "us-central1-b"]
    min_vms    = 1

    scrape_ranges   = ["10.0.0.0/24"]
    ssh_through_iap = true

    warm_hours = {
      wedding = { schedule = "0 9 * * 6", time_zone = "Asia/Ho_Chi_Minh", duration_seconds = 28800, vms = 3 }
    }
  }

  assert {
    condition     = google_compute_instance_template.worker[0].scheduling[0].automatic_restart && length(google_compute_network.workers) == 0
    error_message = "On demand, in the network that was given."
  }
  assert {
    condition     = google_compute_firewall.scrapes[0].network == "projects/host/global/networks/shared" && length(google_compute_firewall.ssh) == 1
    error_message = "Prometheus and people reach the workers where they are."
  }
  assert {
    condition     = google_compute_region_autoscaler.workers[0].autoscaling_policy[0].scaling_schedules[0].min_required_replicas == 3
    error_message = "Machines are there before the event begins."
  }
}

run "cloud_run" {
  variables {
    workers       = "cloud-run"
    notifications = false
  }

  assert {
    condition     = length(google_storage_notification.originals) == 0
    error_message = "Only the gallery publishes."
  }

  assert {
    condition     = length(google_compute_region_instance_group_manager.workers) == 0 && length(google_compute_network.workers) == 0
    error_message = "No machines where Cloud Run runs the image."
  }
  assert {
    condition = one([
      for env in google_cloud_run_v2_worker_pool.workers[0].template[0].containers[0].env :
      env.value if env.name == "WORKER_DRAIN_SECONDS"
    ]) == "7"
    error_message = "Cloud Run gives ten seconds."
  }
}

run "bigquery_operators_and_readers" {
  variables {
    bigquery_outcomes = true
    operators         = ["group:ops@example.com"]
    readers           = ["serviceAccount:cdn@example.com"]
    publishers        = ["serviceAccount:gallery@example.com"]
    alert_emails      = ["ops@example.com"]
  }

  assert {
    condition     = google_pubsub_subscription.outcomes[0].bigquery_config[0].table == "example.photos.outcomes"
    error_message = "Outcomes become rows."
  }
  assert {
    condition     = length(google_pubsub_subscription_iam_member.operators) == 2 && contains(keys(google_monitoring_alert_policy.this), "outcomes")
    error_message = "Operators hold dead letters; somebody watches the rows."
  }
}

run "an_image_by_tag_is_refused" {
  command = plan
  variables {
    image = "us-central1-docker.pkg.dev/example/photos/photo-worker:latest"
  }
  expect_failures = [var.image]
}

run "an_image_of_another_registry_is_refused" {
  command = plan
  variables {
    image = "ghcr.io/example/photo-worker@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }
  expect_failures = [var.image]
}

run "few_delivery_attempts_are_refused" {
  command = plan
  variables {
    max_delivery_attempts = 5
  }
  expect_failures = [var.max_delivery_attempts]
}

run "the_drain_is_not_a_free_setting" {
  command = plan
  variables {
    settings = { WORKER_DRAIN_SECONDS = "60" }
  }
  expect_failures = [var.settings]
}

run "renditions_beside_originals_are_refused" {
  command = plan
  variables {
    renditions_bucket = "example-photos-originals"
  }
  expect_failures = [google_storage_bucket.renditions]
}
